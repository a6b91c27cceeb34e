"""HTTP as every route speaks it: what comes in, what goes out, who may ask and how much."""
