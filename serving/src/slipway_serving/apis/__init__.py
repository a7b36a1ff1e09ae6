"""What is answered under which path: a module for each protocol."""
