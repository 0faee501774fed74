"""What the commands of all packages share: plain errors, checked outputs, a lock, a progress line, any terminal."""
