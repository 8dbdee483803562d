"""Write a planned run to the target: pre-images, uploads, their settling, the KV index."""
