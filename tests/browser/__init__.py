"""What a person sees in the console, in a browser. A package, so that a module here may be named as another one elsewhere."""
