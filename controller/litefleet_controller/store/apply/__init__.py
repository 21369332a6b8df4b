"""Who owns which field: server-side apply and `metadata.managedFields`, as KEP-555 and structured-merge-diff have it.

Everything here is pure. `fieldset` holds sets of fields, `shapes` tells maps and lists apart by a kind's schema,
`comparing`, `merging` and `removing` work on values, `managers` on the entries; `applying` and `tracking` put them
together for the two ways of writing, and `checking` refuses what can't be owned. Called by store.objects alone.
"""
