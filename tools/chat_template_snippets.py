def snippets():
    return []
