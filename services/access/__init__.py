"""Access nodes hold the connections of clients and know no business."""
