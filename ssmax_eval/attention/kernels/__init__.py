"""Fast paths, each tested against the definition that it stands for."""
