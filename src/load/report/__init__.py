"""What was measured: numbers, their JSON, a page, and two results beside each other."""
