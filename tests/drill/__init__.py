"""Real releases on the double: by the real verb, of real processes, under real load, of versions good and bad."""
