"""Whether a description means one object and no other (§IV-A asks for it, nobody checked): read it, look at the boxes.

`grammar` turns the words into a claim, `meaning` says which objects the claim fits, as several readers would see it,
`check` compares that with the object that was meant.
"""
