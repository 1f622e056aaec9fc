"""The book's chapters: where they are, running them, checking the numbers that they print."""

from bayesmix.book.numbers import check as check
from bayesmix.book.places import chapters as chapters
