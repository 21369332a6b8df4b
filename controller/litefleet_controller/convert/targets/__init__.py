"""What an accelerator needs beyond a proven variant: one module a target, and each says what can't be done here."""
