"""Sizes after a swap: what a segment must look like to fit between its new neighbours."""
