"""Tries anybody's subscriber: does it forget what it must, and is what it acknowledges true?"""
