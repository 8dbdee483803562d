"""What programs of Qdrant leave on a disk: folders and files that are read without them."""
