"""netd: the node daemon that turns a signed specification into a bridge, DHCP, DNS and packet filters."""
