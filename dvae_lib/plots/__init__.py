"""The figures of the book: `hands` draws images and skeletons; the other modules contain one function per figure."""
