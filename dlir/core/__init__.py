"""What all wings share: the convention of affines, the tables between the steps, the basis of the settings, results that are
written whole, and progress. No tiles flow through here. This wing imports no other."""
