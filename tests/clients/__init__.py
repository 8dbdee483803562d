"""Official clients, pointed at the sandbox: does every command they have work or get refused?"""
