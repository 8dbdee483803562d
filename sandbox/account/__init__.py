"""The account: tokens, the account itself, Worker scripts and their secrets."""
