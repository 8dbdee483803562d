"""Send a request to the Cloudflare API and decide about its answer: accept, retry, or raise."""
