"""Send one request to the Cloudflare API and judge its answer: retry, refuse, or take it."""
