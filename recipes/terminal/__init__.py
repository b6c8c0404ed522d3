"""The terminal: tables, facts, errors and progress, with rich on a terminal and as plain text elsewhere."""
