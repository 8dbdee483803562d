"""Official clients, pointed at the stand-in: does every command they have work or get refused?"""
