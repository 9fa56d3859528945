# Replaced by NICO with the members of the cluster. This empty one lets `nix flake check` work.
{
  clusterName = "none";
  name = "none";
  controlPlane = [ ];
  workers = [ ];
}
