"""How many bits a GPT needs for the tokens of a field."""
