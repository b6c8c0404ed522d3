"""Latents from conditioning: checks, noise, scheduler, the denoising loop and its training loss."""
