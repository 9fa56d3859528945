# What the nodes report as their version.
"1.32.4+k3s1"
