//! `host`: CPU, memory, disks, network and load of the machine.
