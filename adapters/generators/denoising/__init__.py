"""From conditioning to latents: checks, noise, scheduler, the denoising loop and its training loss."""
