"""From the raw values of a fact to the record that is attested, or to the reason why not."""
