from collections import Counter


def fetch():
    return "to be or not to be that is the question"


def count(text):
    return "".join(f"{times} {word}\n" for word, times in Counter(text.split()).items())
