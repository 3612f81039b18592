"""The suite of slugger."""
