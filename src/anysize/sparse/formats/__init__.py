"""Other people's layouts of autoencoders and sparse encoders."""
