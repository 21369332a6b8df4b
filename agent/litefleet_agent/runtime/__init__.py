"""The engines that run models, one file each, behind one small port."""
