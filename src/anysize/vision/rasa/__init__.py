"""RASA: the directions of patch features that say where a patch lies, found and taken out."""
