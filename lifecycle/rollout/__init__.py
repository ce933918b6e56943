"""A release: a revision at 0 %, rehearsed, then traffic in steps, each judged; promoted, or moved back."""
