"""What the readers of foreign files share: nothing they hold is trusted before it is checked (§IV)."""
