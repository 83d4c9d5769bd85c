"""Ground truth for verdicts: labelled histories of apps, and how well they are judged."""
