"memory"
