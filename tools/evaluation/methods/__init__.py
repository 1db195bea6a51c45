"""Methods: this software's own, peers, and predictions that others made; what each is given, and how it is kept."""
