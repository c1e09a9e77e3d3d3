"""The study: experiments that stand alone, each measured by a program that writes its own page."""
