"""What texts of code and pages tell an operator: plain words, counts, advice that works."""
