"""weightgpt: shapes become fields, fields become tokens, a GPT-2 learns the tokens, new tokens become new shapes."""
