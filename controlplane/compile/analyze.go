package compile

// analyze looks for mistakes that no single object shows.
func (c *compiler) analyze() {}
