"""Vouch: who is who in the fleet, and what each may do.

The CA and its signatures, enrollment tokens, people's tokens, roles.
"""
