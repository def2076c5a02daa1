"""The figures of the book: `hands` draws images and skeletons, the other modules hold one function a figure."""
