"""Who measures which cells: plan the runs, say what they cost, measure what is missing."""
