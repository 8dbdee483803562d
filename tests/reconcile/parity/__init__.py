"""Does search still answer the same?"""
