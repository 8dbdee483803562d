"""The account around both: tokens, accounts, Worker scripts and their secrets."""
