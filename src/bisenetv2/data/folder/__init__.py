"""Any folder of images and masks: what it holds, and `dataset.yaml`, which says so."""
